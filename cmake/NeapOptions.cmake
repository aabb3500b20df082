# How everything is compiled. `neap_options` is for all targets; `neap_library_options` adds what the objects of
# libneap.so need, which must live in every process and lean on libc alone.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_COMPILE_WARNING_AS_ERROR ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()

find_program(NEAP_CCACHE ccache)
if(NEAP_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${NEAP_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${NEAP_CCACHE})
endif()

find_package(Threads REQUIRED)

add_library(neap_options INTERFACE)
target_include_directories(neap_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(neap_options INTERFACE NEAP_VERSION="${PROJECT_VERSION}" _GNU_SOURCE)
target_compile_options(
  neap_options
  INTERFACE -Wall
            -Wextra
            -Wshadow
            -Wundef
            -Wcast-align
            -Wimplicit-fallthrough
            $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
            $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>
            # clang before 19 does not call the sized forms of delete without it
            $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-fsized-deallocation>
            # a target may switch off what only the other compiler warns of
            $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-unknown-warning-option>)
if(NEAP_SANITIZE)
  # gcc: the thread sanitizer does not see fences, and says so at each; what sanitizers put in between makes values look
  # uninitialized.
  target_compile_options(neap_options INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-tsan>
                                                $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
  target_compile_options(neap_options INTERFACE -fsanitize=${NEAP_SANITIZE} -fno-sanitize-recover=all
                                                -fno-omit-frame-pointer)
  target_link_options(neap_options INTERFACE -fsanitize=${NEAP_SANITIZE})
endif()

add_library(neap_library_options INTERFACE)
target_link_libraries(neap_library_options INTERFACE neap_options)
target_compile_options(
  neap_library_options
  INTERFACE -U_FORTIFY_SOURCE # its checks call abort paths that may allocate
            -fvisibility=hidden
            -fno-plt
            -ftls-model=initial-exec # a dynamic TLS block would come from malloc
            # The compiler must not turn malloc and memset into calloc inside calloc itself.
            -fno-builtin-malloc
            -fno-builtin-calloc
            -fno-builtin-realloc
            -fno-builtin-free
            -fno-builtin-aligned_alloc
            $<$<COMPILE_LANGUAGE:CXX>:-fvisibility-inlines-hidden>)
