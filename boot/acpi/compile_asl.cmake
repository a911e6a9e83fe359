# Compiles the ASL file SOURCE into the C++ array NAME in BASE.cpp, with the C preprocessor CPP and IASL. Says
# nothing unless a step fails; iasl's warnings are failures.

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${text}")
  endif()
endfunction()

cmake_path(GET SOURCE PARENT_PATH folder)
# The C preprocessor makes the macros, which iasl's own does not have yet.
run(${CPP} -E -P -x assembler-with-cpp -I ${folder} ${SOURCE} -o ${BASE}.i)
run(${IASL} -Pn -vs -vi -we -p ${BASE} ${BASE}.i)

file(READ ${BASE}.aml bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REPEAT "0x..," 16 row)
string(REGEX REPLACE "(${row})" "\\1\n" bytes "${bytes}")
file(WRITE ${BASE}.cpp
  "// Made from ASL by boot/acpi/compile_asl.cmake.\n"
  "extern const unsigned char ${NAME}[];\nextern const unsigned long ${NAME}_size;\n"
  "const unsigned char ${NAME}[] = {\n${bytes}};\nconst unsigned long ${NAME}_size = sizeof ${NAME};\n")
