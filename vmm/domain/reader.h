// The parts of a domain, each read out of the tree that the table has let through. Every function reports
// what it finds wrong and leaves a default there, so that one run shows all that is wrong.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "vmm/domain/domain.h"
#include "vmm/domain/element.h"

namespace vmm::domain {

Domain read_domain(const ReadContext& context, const Element& root);

void read_identity(const ReadContext& context, const Element& root, Domain& domain);
void read_memory(const ReadContext& context, const Element& root, Domain& domain);
void read_processors(const ReadContext& context, const Element& root, Domain& domain);
// After read_processors().
void read_pins(const ReadContext& context, const Element& root, Domain& domain);
void read_os(const ReadContext& context, const Element& root, Domain& domain);
void read_features(const ReadContext& context, const Element& root, Domain& domain);
void read_clock(const ReadContext& context, const Element& root, Domain& domain);
void read_lifecycle(const Element& root, Domain& domain);
void read_metadata(const ReadContext& context, const Element& root, Domain& domain);
// After read_memory(), read_processors() and read_os().
void read_disks(const ReadContext& context, const Element& devices, Domain& domain);
std::optional<IoTune> read_iotune(const ReadContext& context, const Element& disk);
// After read_identity() and read_os().
void read_interfaces(const ReadContext& context, const Element& devices, Domain& domain);
void read_balloon(const ReadContext& context, const Element& devices, Domain& domain);
void read_rngs(const ReadContext& context, const Element& devices, Domain& domain);
void read_panic_device(const ReadContext& context, const Element& devices, Domain& domain);
void read_watchdog(const ReadContext& context, const Element& devices, Domain& domain);
// elements: those of domain.disks.
void place_ide_drives(const ReadContext& context, std::span<const Element* const> elements, Domain& domain);
void read_serials(const ReadContext& context, const Element& devices, Domain& domain);

// The name that the device's <alias> gives it; empty: none.
std::string alias_of(const Element& device);

// What the device's <boot order=…/> says; absent: nothing, or nothing that is right.
std::optional<uint32_t> read_boot_order(const ReadContext& context, const Element& device);

// What a network device of the host is called, of the attribute; empty: it is not there, or no such name.
std::string read_host_device(const ReadContext& context, const Element& element, std::string_view attribute);

// Where the device's <address> puts it. Nothing: vmm chooses, which may have been said.
std::optional<PciAddress> read_virtio_address(const ReadContext& context, const Element& device,
                                              MachineType machine);

// What can be said only of the domain as a whole.
void check_domain(const ReadContext& context, const Element& root, const Domain& domain);
void check_interfaces(const ReadContext& context, const Element& root, const Domain& domain);

// 32 hexadecimal digits, with '-' between them anywhere; in the order of the text.
std::optional<std::array<uint8_t, 16>> parse_uuid(std::string_view text);

// libvirt's scaled integers (virScaleInteger): `count` in bytes, "k" and "KiB" being 1024, "KB" 1000, and so
// on; an empty unit is the one that holds otherwise. Nothing if the unit is unknown or the sum does not fit.
std::optional<uint64_t> scaled_bytes(uint64_t count, std::string_view unit, std::string_view otherwise);

}  // namespace vmm::domain
