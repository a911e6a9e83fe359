#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"
void guest::run() {
  print("command line: ", command_line());
  print("tsc ", tsc_frequency(), " ", tsc_frequency_source());
  run_in_user_mode([] { check("user mode", in_user_mode()); });
  check("user mode left", !in_user_mode());
}
