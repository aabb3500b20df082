# Debian's cross compiler for aarch64; what it builds runs in qemu's user emulation.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(NEAP_HOST aarch64-linux-gnu)
set(CMAKE_C_COMPILER ${NEAP_HOST}-gcc)
set(CMAKE_CXX_COMPILER ${NEAP_HOST}-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L /usr/${NEAP_HOST})
