# libengram, shared and static, from all layers in one object (whole.cmake).  Only eg_* is
# visible in either: tests/check/exports.py looks.
set(here ${PROJECT_SOURCE_DIR}/tools/cmake)
set(dependencies PkgConfig::UV PkgConfig::XXHASH PkgConfig::ROCKSDB Threads::Threads m ${CMAKE_DL_LIBS})

add_library(engram SHARED ${whole})
target_link_libraries(engram PRIVATE ${dependencies})
target_link_options(engram PRIVATE -Wl,--version-script=${here}/engram.map)
if(NOT EG_SANITIZE) # a sanitizer's runtime is in the program, not here
  target_link_options(engram PRIVATE -Wl,--no-undefined)
endif()
set_target_properties(engram PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0
                      LINKER_LANGUAGE C LINK_DEPENDS ${here}/engram.map)

# Hidden names still are names in an archive: make them local.
set(joined ${CMAKE_BINARY_DIR}/engram.o)
add_custom_command(OUTPUT ${joined} COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${whole} ${joined}
                   DEPENDS ${whole} VERBATIM)
add_library(engram_static STATIC ${joined})
target_link_libraries(engram_static PUBLIC ${dependencies})
set_target_properties(engram_static PROPERTIES OUTPUT_NAME engram LINKER_LANGUAGE C)

foreach(library engram engram_static)
  set_target_properties(${library} PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib
                        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
  target_include_directories(${library} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

install(TARGETS engram engram_static EXPORT engram)
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/engram)
install(EXPORT engram NAMESPACE engram:: FILE engramTargets.cmake DESTINATION ${package_dir})
write_basic_package_version_file(engramConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${here}/engramConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/engramConfigVersion.cmake
        DESTINATION ${package_dir})
configure_file(${here}/engram.pc.in engram.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/engram.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
