#!/bin/sh
# Compile kernels.c to kernels.wasm, by Debian's clang and lld (made with version 14).
cd "$(dirname "$0")" && exec clang --target=wasm32 -O2 -msimd128 -mbulk-memory \
  -ffreestanding -nostdlib -Wall -Wextra -Werror -Wl,--no-entry \
  -Wl,--export=__heap_base -Wl,-z,stack-size=65536 -Wl,--strip-all \
  -o kernels.wasm kernels.c
