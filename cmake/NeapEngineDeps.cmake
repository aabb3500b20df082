# Arrow C++ and Parquet of the pinned pyarrow package as neap::arrow, neap::arrow_compute and neap::parquet, and the C++
# of Substrait's protobuf files as neap::substrait. cmake/engine-deps fetches both, once for all build folders.

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/engine-deps
                                                               ${PROJECT_SOURCE_DIR}/cmake/engine-requirements.txt)
execute_process(
  COMMAND ${PROJECT_SOURCE_DIR}/cmake/engine-deps ${NEAP_DEPS_DIR}
  OUTPUT_VARIABLE NEAP_ENGINE_DEPS
  OUTPUT_STRIP_TRAILING_WHITESPACE
  COMMAND_ERROR_IS_FATAL ANY)
set(NEAP_ENGINE_PYTHON ${NEAP_ENGINE_DEPS}/python/bin/python)

execute_process(
  COMMAND ${NEAP_ENGINE_PYTHON} -c
          "import pyarrow as p; print(p.get_include(), p.get_library_dirs()[0], p.cpp_build_info.so_version, sep=';', end='')"
  OUTPUT_VARIABLE pyarrow
  COMMAND_ERROR_IS_FATAL ANY)
list(GET pyarrow 0 include)
list(GET pyarrow 1 NEAP_ARROW_LIBRARY_DIR)
list(GET pyarrow 2 version)
foreach(name arrow arrow_compute parquet)
  add_library(neap::${name} SHARED IMPORTED)
  set_target_properties(neap::${name} PROPERTIES IMPORTED_LOCATION ${NEAP_ARROW_LIBRARY_DIR}/lib${name}.so.${version})
  target_include_directories(neap::${name} SYSTEM INTERFACE ${include})
endforeach()
target_link_libraries(neap::arrow_compute INTERFACE neap::arrow)
target_link_libraries(neap::parquet INTERFACE neap::arrow)

find_package(Protobuf REQUIRED)
set(protos plan algebra type extensions/extensions)
set(generated)
foreach(proto ${protos})
  set(source ${NEAP_ENGINE_DEPS}/substrait/substrait/${proto}.proto)
  set(output ${PROJECT_BINARY_DIR}/substrait/substrait/${proto}.pb)
  add_custom_command(
    OUTPUT ${output}.cc ${output}.h
    COMMAND protobuf::protoc --cpp_out=${PROJECT_BINARY_DIR}/substrait -I ${NEAP_ENGINE_DEPS}/substrait ${source}
    DEPENDS ${source}
    VERBATIM)
  list(APPEND generated ${output}.cc)
endforeach()
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/substrait)
add_library(neap_substrait STATIC ${generated})
set_target_properties(neap_substrait PROPERTIES CXX_CLANG_TIDY "" COMPILE_WARNING_AS_ERROR OFF)
target_include_directories(neap_substrait SYSTEM PUBLIC ${PROJECT_BINARY_DIR}/substrait)
target_link_libraries(neap_substrait PUBLIC protobuf::libprotobuf)
target_compile_options(neap_substrait PRIVATE -w)
