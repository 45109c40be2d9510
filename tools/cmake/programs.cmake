# engramd and engram.  What tools/ holds besides their mains is one library more,
# so that tests reach it.
pkg_check_modules(EDIT REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(YAJL REQUIRED IMPORTED_TARGET yajl)

file(GLOB sources CONFIGURE_DEPENDS tools/*.c)
set(mains ${PROJECT_SOURCE_DIR}/tools/engramd.c ${PROJECT_SOURCE_DIR}/tools/engram.c)
list(REMOVE_ITEM sources ${mains})
if(sources)
  add_library(eg_tools STATIC ${sources})
  target_link_libraries(eg_tools PUBLIC eg_node PkgConfig::EDIT PkgConfig::YAJL)
endif()

foreach(name engramd engram)
  add_executable(${name}_program tools/${name}.c) # `engram` is the library's target
  set_target_properties(${name}_program PROPERTIES OUTPUT_NAME ${name} EG_STATIC_ROCKSDB ON)
  target_link_libraries(${name}_program PRIVATE eg_tools)
  install(TARGETS ${name}_program)
endforeach()

# What belongs beside installed programs.
set(packaging ${PROJECT_SOURCE_DIR}/tools/packaging)
configure_file(${packaging}/engramd.service engramd.service @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/engramd.service DESTINATION lib/systemd/system)
install(FILES ${packaging}/engramd.conf DESTINATION ${CMAKE_INSTALL_SYSCONFDIR}/engram)
install(FILES ${packaging}/engram.bash RENAME engram
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES docs/man/engram.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES docs/man/engramd.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
