# The programs.  What tools/ holds in C besides their mains is one library more,
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
  eg_link_whole(${name}_program)
  install(TARGETS ${name}_program)
endforeach()

# engram-partition and engram-soak are Python: what they share lies in share/engram/trial.
foreach(module partition soak)
  set(program engram-${module})
  configure_file(tools/trial/launcher.in ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${program} @ONLY
                 FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  install(PROGRAMS ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${program} TYPE BIN)
endforeach()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/tools ${CMAKE_BINARY_DIR}/share/engram SYMBOLIC)
install(DIRECTORY tools/trial DESTINATION ${CMAKE_INSTALL_DATADIR}/engram FILES_MATCHING PATTERN "*.py"
        PATTERN "__pycache__" EXCLUDE)

# What belongs beside installed programs.
set(packaging ${PROJECT_SOURCE_DIR}/tools/packaging)
configure_file(${packaging}/engramd.service engramd.service @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/engramd.service DESTINATION lib/systemd/system)
install(FILES ${packaging}/engramd.conf DESTINATION ${CMAKE_INSTALL_SYSCONFDIR}/engram)
set(completions ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${packaging}/engram.bash RENAME engram DESTINATION ${completions})
install(FILES ${packaging}/engram-trial.bash RENAME engram-partition DESTINATION ${completions})
install(FILES ${packaging}/engram-trial.bash RENAME engram-soak DESTINATION ${completions})
install(FILES docs/man/engram.1 docs/man/engram-partition.1 docs/man/engram-soak.1
        DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES docs/man/engramd.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
