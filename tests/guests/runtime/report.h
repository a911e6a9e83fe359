// What a guest program says on the first serial port: free text, and one line per check.
//   PASS name | FAIL name: reason | SKIP name: reason, and at the end: DONE n passed m failed k skipped
// The program then powers the machine off. Calls may come from any CPU and from ring 3.
#pragma once

#include <cstdint>
#include <type_traits>

namespace guest {

struct Hex {
  uint64_t value;
};

// Collects one line; whole lines go out together, so that CPUs do not mix theirs.
class Line {
 public:
  Line() = default;
  void add(const char* text);
  void add(Hex number);
  void add_number(uint64_t number);
  void add_character(char character);
  template <class T>
    requires std::is_integral_v<T>
  void add(T number) {
    if constexpr (std::is_signed_v<T>) {
      if (number < 0) {
        add_character('-');
        return add_number(uint64_t{0} - static_cast<uint64_t>(number));
      }
    }
    add_number(static_cast<uint64_t>(number));
  }
  void add(char character) { add_character(character); }
  void add(bool value) { add(value ? "true" : "false"); }
  void send();

 private:
  char text_[500] = {};
  uint32_t length_ = 0;
};

template <class... Parts>
void print(const Parts&... parts) {
  Line line;
  (line.add(parts), ...);
  line.send();
}

void count_pass();
void count_fail();
void count_skip();
uint32_t failures();

template <class... Parts>
void fail(const char* name, const Parts&... reason) {
  count_fail();
  print("FAIL ", name, ": ", reason...);
}

template <class... Parts>
void skip(const char* name, const Parts&... reason) {
  count_skip();
  print("SKIP ", name, ": ", reason...);
}

inline void pass(const char* name) {
  count_pass();
  print("PASS ", name);
}

// The reason is printed only where the check fails.
template <class... Parts>
bool check(const char* name, bool holds, const Parts&... reason) {
  if (holds) {
    pass(name);
  } else {
    fail(name, reason...);
  }
  return holds;
}

bool check_equal(const char* name, uint64_t actual, uint64_t wanted);

// The line DONE, and the end of the machine.
[[noreturn]] void finish();

// The UART that print() uses, 0x3f8, as the program wants it again after having played with it.
void reset_console();
// False: the program uses the UART for itself, and print() drops what it gets.
void set_console(bool on);

}  // namespace guest
