// QmpClient: the other side of a control socket.
//
// Threads: one at a time. Every call waits for its answer, so long at most as connect() was told.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::control {

class QmpClient {
 public:
  static constexpr std::chrono::seconds kAnswerTime{10};

  static Result<QmpClient> connect(const std::string& path,
                                   std::chrono::milliseconds answer_time = kAnswerTime);

  // What the command returned. An error: what the guest's vmm says is wrong, or that it does not answer.
  Result<nlohmann::json> run(const char* command, const nlohmann::json& arguments);
  // The connection, which speaks QMP no more (x-vmm-console), and what came on it behind the last answer. The
  // client is of no use from then on.
  std::pair<UniqueFd, std::string> hand_over() { return {std::move(fd_), std::move(received_)}; }
  // That of the vmm at the other end; 0: the kernel does not tell.
  int peer_process() const;

 private:
  QmpClient(UniqueFd fd, std::string path, std::chrono::milliseconds answer_time)
      : fd_(std::move(fd)), path_(std::move(path)), answer_time_(answer_time) {}
  std::unexpected<Error> is_gone() const;
  Result<nlohmann::json> receive();
  Status send(const std::string& text);
  Status wait(short events, std::chrono::steady_clock::time_point deadline) const;

  UniqueFd fd_;
  std::string path_;
  std::chrono::milliseconds answer_time_;
  bool is_greeted_ = false;
  std::string received_;
};

}  // namespace vmm::control
