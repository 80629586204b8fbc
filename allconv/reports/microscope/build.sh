#!/bin/sh
# Compile kernels.c to kernels.wasm, or to the file named, by Debian's clang and lld (made with version 14).
cd "$(dirname "$0")" && exec clang --target=wasm32 -O2 -msimd128 -mbulk-memory \
  -ffreestanding -nostdlib -Wall -Wextra -Werror -Wl,--no-entry \
  -Wl,--export=__heap_base -Wl,-z,stack-size=65536 -Wl,--strip-all \
  -o "${1:-kernels.wasm}" kernels.c
