# find_package(engram): targets engram::engram (shared) and engram::engram_static,
# which needs the libraries below again at its program's link.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(PkgConfig)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ROCKSDB REQUIRED IMPORTED_TARGET rocksdb)
include(${CMAKE_CURRENT_LIST_DIR}/engramTargets.cmake)
