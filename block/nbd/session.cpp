#include "block/nbd/session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::block::nbd {
namespace {

// Answers that the client has not read yet; it gets no more before.
constexpr size_t kMaxTextBytes = size_t{64} << 10U;

bool is_known(uint16_t command) {
  switch (static_cast<Command>(command)) {
    case Command::kRead:
    case Command::kWrite:
    case Command::kDisconnect:
    case Command::kFlush:
    case Command::kTrim:
    case Command::kWriteZeroes:
    case Command::kBlockStatus:
      return true;
  }
  return false;
}

// FUA may come with any command, and means something for some.
uint16_t flags_of(Command command) {
  switch (command) {
    case Command::kRead:
      return kFua | kDf;
    case Command::kWriteZeroes:
      return kFua | kNoHole;
    case Command::kBlockStatus:
      return kFua | kReqOne;
    case Command::kWrite:
    case Command::kDisconnect:
    case Command::kFlush:
    case Command::kTrim:
      return kFua;
  }
  return 0;
}

Error error_of(IoStatus status) {
  switch (status) {
    case IoStatus::kOk:
      return Error::kNone;
    case IoStatus::kIoError:
      return Error::kIo;
    case IoStatus::kNoSpace:
      return Error::kNoSpace;
    case IoStatus::kOutOfRange:
      return Error::kInvalid;
    case IoStatus::kReadOnly:
      return Error::kPermission;
    case IoStatus::kUnsupported:
      return Error::kNotSupported;
  }
  return Error::kIo;
}

}  // namespace

Session::Session(const Export& exported)
    : export_(exported),
      size_bytes_(exported.disk->size_bytes()),
      is_read_only_(exported.disk->is_read_only()),
      offered_(transmission_flags(exported, true)),
      handshake_(exported),
      input_memory_(std::make_unique_for_overwrite<std::byte[]>(kInputBytes)),
      slots_(kMaxRequests) {
  for (Slot& slot : slots_) {
    slot.session = this;
    slot.waiter = {.wake = woken, .context = &slot};
    slot.next = std::exchange(free_slots_, &slot);
  }
  output_.reserve(1 + 2 * kMaxRequests);
  Handshake::greet(text_);
}

Session::~Session() { VMM_CHECK(in_flight_ == 0, "a session was ended with requests in flight"); }

// --- Input ---

std::span<const std::byte> Session::input() const {
  return {input_memory_.get() + input_begin_, input_end_ - input_begin_};
}

std::span<const iovec> Session::input_space() {
  if (state_ == State::kEnded || has_to_wait_) {
    return {};
  }
  // What is left is the beginning of a message: short, or an option.
  std::memmove(input_memory_.get(), input_memory_.get() + input_begin_, input_end_ - input_begin_);
  input_end_ -= std::exchange(input_begin_, 0);
  const size_t missing =
      writing_ == nullptr || writing_->error != Error::kNone ? 0 : writing_->request.length - written_;
  size_t count = 0;
  if (missing > 0) {
    input_space_[count++] = {.iov_base = writing_->buffer.memory.get() + written_, .iov_len = missing};
  }
  input_space_[count++] = {.iov_base = input_memory_.get() + input_end_, .iov_len = kInputBytes - input_end_};
  return std::span(input_space_).first(count);
}

void Session::received(size_t bytes) {
  if (writing_ != nullptr && writing_->error == Error::kNone) {
    const size_t direct = std::min<size_t>(bytes, writing_->request.length - written_);
    written_ += direct;
    bytes -= direct;
  }
  input_end_ += bytes;
  go_on();
}

void Session::end_of_input() {
  if (state_ != State::kEnded && !is_in_handshake() && (writing_ != nullptr || input_begin_ != input_end_)) {
    fail("went away in the middle of a request");
    return;
  }
  end();
}

void Session::go_on() {
  has_to_wait_ = false;
  while (state_ != State::kEnded && step()) {
  }
}

void Session::stop() {
  if (state_ != State::kEnded) {
    end();
  }
}

void Session::end() {
  state_ = State::kEnded;
  if (writing_ != nullptr) {
    release(*std::exchange(writing_, nullptr));
  }
}

// Whoever does not keep to the protocol gets no more of it.
void Session::fail(const char* fault) {
  fault_ = fault;
  end();
  text_.clear();
  while (first_reply_ != nullptr) {
    release(*std::exchange(first_reply_, first_reply_->next));
  }
  sent_of_first_ = 0;
}

// False: more bytes are needed, or something has to end first.
bool Session::step() {
  if (writing_ != nullptr) {
    return take_payload();
  }
  switch (state_) {
    case State::kFlags:
      return take_flags();
    case State::kOptions:
      return take_option();
    case State::kTransmission:
      return take_request();
    case State::kEnded:
      break;
  }
  return false;
}

// --- Handshake ---

bool Session::follow(Handshake::Next next, const char* fault) {
  switch (next) {
    case Handshake::Next::kOption:
      state_ = State::kOptions;
      return true;
    case Handshake::Next::kTransmission:
      state_ = State::kTransmission;
      has_chosen_ = true;
      return true;
    case Handshake::Next::kEnd:
      end();
      return false;
    case Handshake::Next::kFault:
      break;
  }
  fail(fault);
  return false;
}

bool Session::take_flags() {
  if (input().size() < kClientFlagsBytes) {
    return false;
  }
  const auto flags = load_be<uint32_t>(input().data());
  consume(kClientFlagsBytes);
  return follow(handshake_.take_client_flags(flags), "sent flags that are not known");
}

bool Session::take_option() {
  if (input().size() < kOptionHeaderBytes) {
    return false;
  }
  const auto option = parse_option(input().first<kOptionHeaderBytes>());
  if (!option || option->length > kMaxOptionBytes) {
    fail(option ? "sent an option that is too long" : "sent something that is no option");
    return false;
  }
  if (input().size() < kOptionHeaderBytes + option->length) {
    return false;
  }
  if (text_.size() > kMaxTextBytes) {
    has_to_wait_ = true;
    return false;
  }
  const auto data = input().subspan(kOptionHeaderBytes, option->length);
  consume(kOptionHeaderBytes + option->length);
  return follow(handshake_.take_option(option->option, data, text_),
                "asked for an export that is not there, or in a way that is not known");
}

// --- Requests ---

bool Session::take_request() {
  if (input().size() < kRequestBytes) {
    return false;
  }
  const auto request = parse_request(input().first<kRequestBytes>());
  if (!request) {
    fail("sent something that is no request");
    return false;
  }
  const auto command = static_cast<Command>(request->command);
  if (command == Command::kDisconnect) {
    end();
    return false;
  }
  // What it sends next would have to be read and thrown away.
  if (command == Command::kWrite && request->length > kMaxPayloadBytes) {
    fail("sent a write that is too long");
    return false;
  }
  if (!begin(*request)) {
    has_to_wait_ = true;
    return false;
  }
  consume(kRequestBytes);
  return true;
}

Error Session::judge(const Request& request) const {
  const auto command = static_cast<Command>(request.command);
  if (!is_known(request.command) || (request.flags & ~flags_of(command)) != 0) {
    return Error::kInvalid;
  }
  if (command == Command::kFlush) {
    return Error::kNone;
  }
  const bool is_change = command != Command::kRead && command != Command::kBlockStatus;
  if (is_change && is_read_only_) {
    return Error::kPermission;
  }
  if (request.offset > size_bytes_ || request.length > size_bytes_ - request.offset) {
    const bool fills = command == Command::kWrite || command == Command::kWriteZeroes;
    return fills ? Error::kNoSpace : Error::kInvalid;
  }
  switch (command) {
    case Command::kRead:
      return request.length > kMaxPayloadBytes ||
                     ((request.flags & kDf) != 0 && !handshake_.has_structured_replies())
                 ? Error::kInvalid
                 : Error::kNone;
    case Command::kBlockStatus:
      return !handshake_.has_block_status() || request.length == 0 ? Error::kInvalid : Error::kNone;
    case Command::kTrim:
      return (offered_ & kSendTrim) == 0 ? Error::kInvalid : Error::kNone;
    case Command::kWriteZeroes:
      return (offered_ & kSendWriteZeroes) == 0 ? Error::kInvalid : Error::kNone;
    case Command::kWrite:
    case Command::kDisconnect:
    case Command::kFlush:
      break;
  }
  return Error::kNone;
}

// False: something has to end first; nothing has been done.
bool Session::begin(const Request& request) {
  const auto command = static_cast<Command>(request.command);
  const Error error = judge(request);
  size_t bytes = 0;
  if (error == Error::kNone && (command == Command::kRead || command == Command::kWrite)) {
    bytes = request.length;
  } else if (error == Error::kNone && command == Command::kBlockStatus) {
    bytes = BlockStatus::kMaxBytes;
  }
  const bool is_write = command == Command::kWrite;
  if (free_slots_ == nullptr || (bytes > 0 && !buffers_.has_room_for(bytes)) ||
      (!is_write && !export_.disk->can_accept())) {
    return false;
  }
  Slot& slot = *take_slot();
  slot.request = request;
  slot.error = error;
  if (bytes > 0) {
    slot.buffer = buffers_.take(bytes);
    slot.error = slot.buffer ? Error::kNone : Error::kNoMemory;
  }
  if (is_write) {
    writing_ = &slot;
    written_ = 0;
  } else {
    start(slot);
  }
  return true;
}

Session::Slot* Session::take_slot() {
  Slot* const slot = std::exchange(free_slots_, free_slots_->next);
  slot->next = nullptr;
  slot->flushes_after = false;
  slot->payload_bytes = 0;
  return slot;
}

void Session::release(Slot& slot) {
  buffers_.give_back(std::exchange(slot.buffer, BufferPool::Buffer()));
  slot.next = std::exchange(free_slots_, &slot);
}

// Those of a write that is refused are dropped: its reply comes behind them.
bool Session::take_payload() {
  Slot& slot = *writing_;
  const size_t there = std::min<size_t>(input().size(), slot.request.length - written_);
  if (slot.error == Error::kNone && there > 0) {
    std::memcpy(slot.buffer.memory.get() + written_, input().data(), there);
  }
  consume(there);
  written_ += there;
  if (written_ < slot.request.length) {
    return false;
  }
  if (!export_.disk->can_accept()) {
    has_to_wait_ = true;
    return false;
  }
  writing_ = nullptr;
  start(slot);
  return true;
}

// REQUIRES: the disk can accept it.
void Session::start(Slot& slot) {
  const Request& request = slot.request;
  const auto command = static_cast<Command>(request.command);
  if (slot.error != Error::kNone || (request.length == 0 && command != Command::kFlush)) {
    reply(slot);
    return;
  }
  switch (command) {
    case Command::kRead:
      return submit(slot, BlockOp::kRead);
    case Command::kWrite:
      return submit(slot, BlockOp::kWrite);
    case Command::kFlush:
      return submit(slot, BlockOp::kFlush);
    case Command::kTrim:
      slot.flushes_after = (request.flags & kFua) != 0;
      return submit(slot, BlockOp::kDiscard);
    case Command::kWriteZeroes:
      return submit(slot, BlockOp::kWriteZeroes);
    case Command::kBlockStatus:
      slot.block_status = BlockStatus(request.offset, request.length, (request.flags & kReqOne) != 0,
                                      slot.buffer.memory.get());
      ++in_flight_;
      has_submitted_ = true;
      return ask_for_status(slot);
    case Command::kDisconnect:
      break;
  }
  VMM_CHECK(false, "a request was started that has nothing to do");
}

void Session::submit(Slot& slot, BlockOp op) {
  BlockRequest request;
  request.op = op;
  if (op != BlockOp::kFlush) {
    request.offset = DiskOffset(slot.request.offset);
    request.length_bytes = slot.request.length;
  }
  if (op == BlockOp::kRead || op == BlockOp::kWrite) {
    slot.data = {.iov_base = slot.buffer.memory.get(), .iov_len = slot.request.length};
    request.buffers = std::span(&slot.data, 1);
  }
  request.may_unmap = op == BlockOp::kWriteZeroes && (slot.request.flags & kNoHole) == 0;
  request.force_unit_access =
      (op == BlockOp::kWrite || op == BlockOp::kWriteZeroes) && (slot.request.flags & kFua) != 0;
  request.completion = Completion(request_done, &slot, 0);
  ++in_flight_;
  has_submitted_ = true;
  export_.disk->submit(std::move(request));
}

void Session::request_done(void* context, uint64_t /*cookie*/, IoStatus status) {
  Slot& slot = *static_cast<Slot*>(context);
  slot.session->disk_done(slot, status);
}

// The disk has a place free again, which this request had.
void Session::disk_done(Slot& slot, IoStatus status) {
  --in_flight_;
  if (status == IoStatus::kOk && std::exchange(slot.flushes_after, false)) {
    submit(slot, BlockOp::kFlush);
    return;
  }
  slot.error = error_of(status);
  reply(slot);
}

void Session::woken(Waiter& waiter, IoStatus status) {
  Slot& slot = *static_cast<Slot*>(waiter.context);
  if (status == IoStatus::kOk) {
    slot.session->ask_for_status(slot);
  } else {
    slot.session->disk_done(slot, status);
  }
}

void Session::ask_for_status(Slot& slot) {
  switch (slot.block_status.go_on(export_.disk->block_map(), slot.waiter)) {
    case BlockStatus::Step::kWait:
      return;
    case BlockStatus::Step::kDone:
      return disk_done(slot, IoStatus::kOk);
    case BlockStatus::Step::kError:
      return disk_done(slot, slot.block_status.status());
  }
}

}  // namespace vmm::block::nbd
