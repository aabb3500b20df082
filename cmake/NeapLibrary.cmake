# libneap.so: the objects of alloc/ and interpose/ in one shared object that needs libc alone.

add_library(neap SHARED)
add_library(neap::neap ALIAS neap)
set_target_properties(neap PROPERTIES SOVERSION ${PROJECT_VERSION_MAJOR} LINKER_LANGUAGE CXX
                                      LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports.map)
target_link_libraries(neap PRIVATE neap_alloc neap_os_linux neap_interpose)
target_include_directories(neap INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/alloc>
                                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
# -nodefaultlibs drops libstdc++, libgcc_s and libm; what remains of libgcc is the static part that needs nothing.
target_link_libraries(neap PRIVATE -lc -lgcc)
target_link_options(
  neap
  PRIVATE
  -nodefaultlibs
  -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map
  -Wl,--exclude-libs,ALL
  -Wl,-z,defs
  -Wl,-z,now
  -Wl,-z,relro
  -Wl,-z,nodelete # blocks and threads outlive any dlclose
  -Wl,--as-needed
  -Wl,--gc-sections
  -Wl,--build-id=sha1)
