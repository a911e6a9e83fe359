// The control socket's messages: any bytes are answered, each answer is one line of JSON with a return or an
// error, and what is kept is bounded.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tests/fuzz/input.h"
#include "tests/unit/fakes/fake_guest.h"
#include "vmm/base/check.h"
#include "vmm/control/message_splitter.h"
#include "vmm/control/qmp_session.h"

namespace vmm::control {
namespace {

void check_answer(const std::string& line) {
  VMM_CHECK(line.ends_with("\r\n") && line.find('\n') == line.size() - 1, "an answer is one line");
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  VMM_CHECK(json.is_object(), "an answer is a JSON object");
  VMM_CHECK(json.contains("return") != json.contains("error"), "an answer is a result or an error");
}

void run(std::string_view bytes) {
  FakeGuest guest;
  QmpSession session(guest);
  check_answer(session.answer(R"({"execute":"qmp_capabilities"})"));
  MessageSplitter splitter(
      [&session](std::string_view message) {
        VMM_CHECK(message.size() <= kMaxMessageBytes, "a message has some length");
        const bool is_at_its_end = session.console().has_value();  // the connection is a console's
        const std::string answer = session.answer(message);
        VMM_CHECK(!is_at_its_end || answer.empty(), "a console speaks no QMP");
        if (!is_at_its_end) {
          check_answer(answer);
        }
      },
      [](const char* reason) { check_answer(QmpSession::complaint(reason)); });
  splitter.take(bytes);
}

}  // namespace
}  // namespace vmm::control

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::control::run(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
