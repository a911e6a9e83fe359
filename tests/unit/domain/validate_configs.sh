#!/usr/bin/env bash
# Checks every example domain against libvirt's schema. The schema has no relative paths, which are vmm's own addition:
# they are completed first. Status 77: there is no schema here to check against.
set -euo pipefail

folder=$1
command -v virt-xml-validate >/dev/null || { echo "virt-xml-validate is not installed (package libvirt-clients)"; exit 77; }
command -v xmllint >/dev/null || { echo "xmllint is not installed (package libxml2-utils)"; exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
count=0
for file in "$folder"/*.xml; do
  completed=$scratch/$(basename "$file")
  sed -E "s#<(kernel|initrd)>([^/])#<\1>/x/\2#; s#(file|path)='([^/])#\1='/x/\2#" "$file" >"$completed"
  virt-xml-validate "$completed" domain
  count=$((count + 1))
done
[ "$count" -gt 0 ] || { echo "$folder: no example domains there"; exit 1; }
