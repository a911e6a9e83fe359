// CPU features and models by the names that libvirt's cpu_map uses, and where CPUID shows them (Intel SDM
// volume 2A, CPUID; AMD APM volume 3, appendix E).
//
// Threads: constants and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace vmm {

enum class CpuidRegister : uint8_t { kEax, kEbx, kEcx, kEdx };

struct CpuFeatureBit {
  std::string_view name;
  uint32_t leaf;
  uint32_t subleaf;
  CpuidRegister reg;
  uint8_t bit;
};

std::span<const CpuFeatureBit> cpu_features();
// Null for an unknown name.
const CpuFeatureBit* find_cpu_feature(std::string_view name);

// Of libvirt's names: one that is no bit of CPUID, but of a model-specific register that KVM fills, or of
// what a guest's own guests would have.
bool is_left_to_kvm(std::string_view name);

// Features that make no sense, or fault, without `name`.
std::span<const std::string_view> features_needing(std::string_view name);

// The features of a named CPU model, or nothing for an unknown one.
std::optional<std::vector<std::string_view>> cpu_model_features(std::string_view model);
// All names that cpu_model_features() knows, for messages.
std::vector<std::string_view> cpu_model_names();

}  // namespace vmm
