// The registers of an ATA channel and their bits (ATA/ATAPI-7 volume 2, section 5; volume 1, section 5.6).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace vmm::ide {

// Offsets in the command block (ports 1F0h to 1F7h, or 170h to 177h).
namespace reg {
inline constexpr size_t kData = 0;
inline constexpr size_t kError = 1;     // read
inline constexpr size_t kFeatures = 1;  // written
inline constexpr size_t kCount = 2;     // PACKET: the interrupt reason
inline constexpr size_t kLbaLow = 3;
inline constexpr size_t kLbaMid = 4;   // PACKET: byte count, low
inline constexpr size_t kLbaHigh = 5;  // PACKET: byte count, high
inline constexpr size_t kDevice = 6;
inline constexpr size_t kStatus = 7;   // read
inline constexpr size_t kCommand = 7;  // written
}  // namespace reg

namespace status_bit {
inline constexpr uint8_t kError = 1U << 0;
inline constexpr uint8_t kDataRequest = 1U << 3;
inline constexpr uint8_t kSeekComplete = 1U << 4;  // of old; drivers still look
inline constexpr uint8_t kReady = 1U << 6;
inline constexpr uint8_t kBusy = 1U << 7;
}  // namespace status_bit

namespace error_bit {
inline constexpr uint8_t kAborted = 1U << 2;
inline constexpr uint8_t kIdNotFound = 1U << 4;     // an address that the device does not have
inline constexpr uint8_t kUncorrectable = 1U << 6;  // data that could not be read
}  // namespace error_bit

namespace device_bit {
inline constexpr uint8_t kDevice1 = 1U << 4;
inline constexpr uint8_t kLba = 1U << 6;
inline constexpr uint8_t kHeads = 0x0f;  // or bits 27:24 of a 28-bit address
}  // namespace device_bit

namespace control_bit {
inline constexpr uint8_t kNoInterrupts = 1U << 1;   // nIEN
inline constexpr uint8_t kSoftwareReset = 1U << 2;  // SRST
inline constexpr uint8_t kHighOrderByte = 1U << 7;  // HOB: the previous contents are read
}  // namespace control_bit

// In the count register of a PACKET device (ATA/ATAPI-7, section 6.25.5).
namespace reason_bit {
inline constexpr uint8_t kCommand = 1U << 0;  // C/D
inline constexpr uint8_t kToHost = 1U << 1;   // I/O
}  // namespace reason_bit

namespace command {
inline constexpr uint8_t kNop = 0x00;
inline constexpr uint8_t kDataSetManagement = 0x06;
inline constexpr uint8_t kDeviceReset = 0x08;
inline constexpr uint8_t kRecalibrate = 0x10;  // to 1Fh
inline constexpr uint8_t kReadSectors = 0x20;
inline constexpr uint8_t kReadSectorsNoRetry = 0x21;
inline constexpr uint8_t kReadSectorsExt = 0x24;
inline constexpr uint8_t kReadDmaExt = 0x25;
inline constexpr uint8_t kReadNativeMaxExt = 0x27;
inline constexpr uint8_t kReadMultipleExt = 0x29;
inline constexpr uint8_t kWriteSectors = 0x30;
inline constexpr uint8_t kWriteSectorsNoRetry = 0x31;
inline constexpr uint8_t kWriteSectorsExt = 0x34;
inline constexpr uint8_t kWriteDmaExt = 0x35;
inline constexpr uint8_t kWriteMultipleExt = 0x39;
inline constexpr uint8_t kWriteDmaFuaExt = 0x3d;
inline constexpr uint8_t kReadVerify = 0x40;
inline constexpr uint8_t kReadVerifyNoRetry = 0x41;
inline constexpr uint8_t kReadVerifyExt = 0x42;
inline constexpr uint8_t kSeek = 0x70;  // to 7Fh
inline constexpr uint8_t kExecuteDeviceDiagnostic = 0x90;
inline constexpr uint8_t kInitializeDeviceParameters = 0x91;
inline constexpr uint8_t kPacket = 0xa0;
inline constexpr uint8_t kIdentifyPacketDevice = 0xa1;
inline constexpr uint8_t kReadMultiple = 0xc4;
inline constexpr uint8_t kWriteMultiple = 0xc5;
inline constexpr uint8_t kSetMultipleMode = 0xc6;
inline constexpr uint8_t kReadDma = 0xc8;
inline constexpr uint8_t kReadDmaNoRetry = 0xc9;
inline constexpr uint8_t kWriteDma = 0xca;
inline constexpr uint8_t kWriteDmaNoRetry = 0xcb;
inline constexpr uint8_t kWriteMultipleFuaExt = 0xce;
inline constexpr uint8_t kStandbyImmediate = 0xe0;
inline constexpr uint8_t kIdleImmediate = 0xe1;
inline constexpr uint8_t kStandby = 0xe2;
inline constexpr uint8_t kIdle = 0xe3;
inline constexpr uint8_t kCheckPowerMode = 0xe5;
inline constexpr uint8_t kSleep = 0xe6;
inline constexpr uint8_t kFlushCache = 0xe7;
inline constexpr uint8_t kFlushCacheExt = 0xea;
inline constexpr uint8_t kIdentifyDevice = 0xec;
inline constexpr uint8_t kSetFeatures = 0xef;
inline constexpr uint8_t kReadNativeMax = 0xf8;
}  // namespace command

// One device's command block. Registers hold the last value written and the one before it, which 48-bit
// commands use too.
struct TaskFile {
  std::array<uint8_t, 8> current{};   // by offset; kData, kStatus: unused
  std::array<uint8_t, 8> previous{};  // kFeatures to kLbaHigh
  uint8_t status = 0;
  uint8_t error = 0;
};

}  // namespace vmm::ide
