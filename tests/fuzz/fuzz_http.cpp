// The head of an HTTP request: any bytes end in a request or in a status that says why not, the same in one
// piece and byte by byte, and what is kept is bounded.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/base/check.h"
#include "vmm/control/http_request.h"

namespace vmm::control {
namespace {

void run(std::string_view bytes) {
  HttpRequestReader whole;
  whole.take(bytes);
  HttpRequestReader pieces;
  for (size_t i = 0; i < bytes.size(); ++i) {
    pieces.take(bytes.substr(i, 1));
  }
  VMM_CHECK(
      whole.state() == pieces.state() && whole.status() == pieces.status() && whole.path() == pieces.path(),
      "pieces are read as the whole is");
  VMM_CHECK(
      whole.state() != HttpRequestReader::State::kReading || bytes.size() <= HttpRequestReader::kMaxHeadBytes,
      "a head has an end");
  if (whole.state() == HttpRequestReader::State::kDone) {
    VMM_CHECK(!whole.method().empty(), "a request has a method");
    VMM_CHECK(whole.path().size() <= HttpRequestReader::kMaxHeadBytes, "a path has some length");
  }
  VMM_CHECK((whole.status() != 0) == (whole.state() == HttpRequestReader::State::kWrong),
            "a refusal has a status");
}

}  // namespace
}  // namespace vmm::control

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::control::run(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
