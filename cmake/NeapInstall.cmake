# What `cmake --install` puts in place and `cpack` packs: the library, its header, the command, the man page, what goes
# with the command's output (share/neap), and the files by which CMake and pkg-config find them.
include(CMakePackageConfigHelpers)

install(TARGETS neap EXPORT neapTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_SOURCE_DIR}/alloc/neap.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT neapTargets NAMESPACE neap:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/neap FILE neapConfig.cmake)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/neapConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/neapConfigVersion.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/neap)
configure_file(${PROJECT_SOURCE_DIR}/cmake/neap.pc.in ${PROJECT_BINARY_DIR}/neap.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/neap.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET neap_command)
  install(TARGETS neap_command)
  install(FILES ${PROJECT_SOURCE_DIR}/tools/man/neap.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  foreach(folder schema prometheus grafana)
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/tools/${folder} DESTINATION ${CMAKE_INSTALL_DATADIR}/neap)
  endforeach()
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "the neap authors")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR})
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_PACKAGE_DESCRIPTION
    "A replacement of malloc for programs that run inside a memory limit: what they free goes back
to the kernel at once, and the limit is read while they run. Preload it with `neap run`, or
link with libneap.so.")
include(CPack)
