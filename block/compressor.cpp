#include "block/compressor.h"

#include <zlib.h>
#include <zstd.h>

namespace vmm::block {
namespace {

// QEMU reads with a window of 4 KiB, and larger ones not at all.
constexpr int kWindowBits = 12;
constexpr int kMostMemory = 9;

class Deflate final : public Compressor {
 public:
  Deflate() {
    is_ready_ = deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -kWindowBits, kMostMemory,
                             Z_DEFAULT_STRATEGY) == Z_OK;
  }
  Deflate(const Deflate&) = delete;
  Deflate& operator=(const Deflate&) = delete;
  ~Deflate() override {
    if (is_ready_) {
      deflateEnd(&stream_);
    }
  }

  bool is_ready() const { return is_ready_; }

  size_t run(std::span<const std::byte> plain, std::span<std::byte> stored) override {
    if (deflateReset(&stream_) != Z_OK) {
      return 0;
    }
    // zlib's interface has no const for what it only reads.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(plain.data()));
    stream_.avail_in = static_cast<uInt>(plain.size());
    stream_.next_out = reinterpret_cast<Bytef*>(stored.data());
    stream_.avail_out = static_cast<uInt>(stored.size());
    return deflate(&stream_, Z_FINISH) == Z_STREAM_END ? stored.size() - stream_.avail_out : 0;
  }

 private:
  z_stream stream_{};
  bool is_ready_ = false;
};

class ZstdCompressor final : public Compressor {
 public:
  ZstdCompressor() : context_(ZSTD_createCCtx(), &ZSTD_freeCCtx) {}

  bool is_ready() const { return context_ != nullptr; }

  size_t run(std::span<const std::byte> plain, std::span<std::byte> stored) override {
    const size_t result =
        ZSTD_compress2(context_.get(), stored.data(), stored.size(), plain.data(), plain.size());
    return ZSTD_isError(result) != 0 ? 0 : result;
  }

 private:
  std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context_;
};

template <typename T>
std::unique_ptr<Compressor> make() {
  auto compressor = std::make_unique<T>();
  return compressor->is_ready() ? std::move(compressor) : nullptr;
}

}  // namespace

std::unique_ptr<Compressor> make_compressor(Compression compression) {
  return compression == Compression::kZstd ? make<ZstdCompressor>() : make<Deflate>();
}

}  // namespace vmm::block
