# liburcu (flavour bp) and libunwind as hidden, position-independent archives, as neap::urcu_bp and neap::unwind.
# cmake/build-deps makes them once from Debian's source packages; all build folders share them.

set(NEAP_DEPS_DIR ${PROJECT_SOURCE_DIR}/build/deps CACHE PATH "where the archives of liburcu and libunwind are kept")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/build-deps)

execute_process(
  COMMAND ${PROJECT_SOURCE_DIR}/cmake/build-deps ${NEAP_DEPS_DIR} ${NEAP_HOST}
  OUTPUT_VARIABLE prefix
  OUTPUT_STRIP_TRAILING_WHITESPACE
  COMMAND_ERROR_IS_FATAL ANY)

foreach(name urcu-bp unwind)
  string(REPLACE - _ target ${name})
  add_library(neap::${target} STATIC IMPORTED)
  set_target_properties(neap::${target} PROPERTIES IMPORTED_LOCATION ${prefix}/lib/lib${name}.a
                                                   INTERFACE_INCLUDE_DIRECTORIES ${prefix}/include)
  target_link_libraries(neap::${target} INTERFACE Threads::Threads)
endforeach()
# After it: on aarch64 its atomic operations are calls of libgcc's.
target_link_libraries(neap::unwind INTERFACE -lgcc)
