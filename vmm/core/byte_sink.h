// A byte stream between a guest's device (a serial port) and the host (a console): ByteSink is the host's
// end, ByteReceiver the device's end.
//
// Flow control, both ways: whoever takes fewer bytes than it was offered calls the other end back, once, when
// it has room again. No method blocks, and none is called with a mutex of the caller held.
#pragma once

#include <cstddef>
#include <span>

namespace vmm {

// The device's end. Threads: called on the thread of the console's event loop.
class ByteReceiver {
 public:
  virtual ~ByteReceiver() = default;

  // Takes bytes from the front and returns how many. Where not all: ByteSink::input_room() follows.
  virtual size_t receive(std::span<const std::byte> bytes) = 0;

  // The line was held in the break condition.
  virtual void receive_break() = 0;

  // The sink has room again after a short write(). May also come without one.
  virtual void output_room() = 0;
};

// The host's end. Threads: any.
class ByteSink {
 public:
  virtual ~ByteSink() = default;

  // Takes bytes from the front and returns how many; bytes that the sink drops because nobody is there to
  // read them count as taken. Where not all: ByteReceiver::output_room() follows.
  virtual size_t write(std::span<const std::byte> bytes) = 0;

  // The receiver has room again after a short receive().
  virtual void input_room() = 0;
};

}  // namespace vmm
