#include "vmm/control/qmp_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "vmm/base/printable.h"
#include "vmm/base/unix_socket.h"

namespace vmm::control {

using nlohmann::json;

namespace {

ucred peer_of(const UniqueFd& fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer : ucred{};
}

}  // namespace

Result<QmpClient> QmpClient::connect(const std::string& path, std::chrono::milliseconds answer_time) {
  VMM_ASSIGN_OR_RETURN(UniqueFd fd, connect_unix("the control socket", path));
  QmpClient client(std::move(fd), path, answer_time);
  VMM_ASSIGN_OR_RETURN(const json greeting, client.receive());
  if (!greeting.contains("QMP")) {
    return fail("{}: what listens there is no vmm", path);
  }
  client.is_greeted_ = true;
  VMM_TRY(client.run("qmp_capabilities", json::object()));
  return client;
}

Result<json> QmpClient::run(const char* command, const json& arguments) {
  json message = {{"execute", command}};
  if (!arguments.empty()) {
    message["arguments"] = arguments;
  }
  VMM_TRY(send(message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"));
  for (;;) {
    VMM_ASSIGN_OR_RETURN(const json answer, receive());
    if (const auto value = answer.find("return"); value != answer.end()) {
      return *value;
    }
    if (const auto error = answer.find("error"); error != answer.end()) {
      const std::string reason = error->is_object() ? error->value("desc", "it failed") : "it failed";
      return fail("{}", printable(reason));
    }
    // An event.
  }
}

int QmpClient::peer_process() const { return peer_of(fd_).pid; }

// Who is not allowed is not even greeted.
std::unexpected<Error> QmpClient::is_gone() const {
  const ucred peer = peer_of(fd_);
  if (!is_greeted_ && peer.pid != 0 && peer.uid != ::geteuid() && ::geteuid() != 0) {
    return fail("{}: the guest is user {}'s, who alone may control it (and root)", path_, peer.uid);
  }
  return fail(
      "{}: {}", path_,
      is_greeted_ ? "the guest has ended" : "the guest has ended, or has as many connections as it takes");
}

Status QmpClient::wait(short events, std::chrono::steady_clock::time_point deadline) const {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  pollfd descriptor{.fd = fd_.get(), .events = events, .revents = 0};
  if (left <= 0 || ::poll(&descriptor, 1, static_cast<int>(left)) == 0) {
    const int process = peer_process();
    return fail("{}: vmm{} does not answer", path_,
                process == 0 ? "" : fmt::format(" (process {})", process));
  }
  return {};
}

Status QmpClient::send(const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + answer_time_;
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = ::send(fd_.get(), text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (count >= 0) {
      done += static_cast<size_t>(count);
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return is_gone();
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail("{}: {}", path_, errno_text(errno));
    } else {
      VMM_TRY(wait(POLLOUT, deadline));
    }
  }
  return {};
}

// The next line.
Result<json> QmpClient::receive() {
  constexpr size_t kLongestLine = size_t{4} << 20U;
  const auto deadline = std::chrono::steady_clock::now() + answer_time_;
  size_t end = 0;
  while ((end = received_.find('\n')) == std::string::npos) {
    std::array<char, 4096> bytes{};
    const ssize_t count = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (count == 0 || (count < 0 && errno == ECONNRESET)) {
      return is_gone();
    }
    if (count > 0) {
      received_.append(bytes.data(), static_cast<size_t>(count));
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail("{}: {}", path_, errno_text(errno));
    } else {
      VMM_TRY(wait(POLLIN, deadline));
    }
    if (received_.size() > kLongestLine) {
      return fail("{}: what listens there is no vmm", path_);
    }
  }
  json answer = json::parse(received_.substr(0, end), nullptr, /*allow_exceptions=*/false);
  received_.erase(0, end + 1);
  if (!answer.is_object()) {
    return fail("{}: what listens there is no vmm", path_);
  }
  return answer;
}

}  // namespace vmm::control
