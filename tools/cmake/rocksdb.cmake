# rocksdb.cmake -- how RocksDB is linked.
#
# eg_rocksdb is the shared library, except in targets with the property
# EG_STATIC_ROCKSDB: these link the archive and what it needs.  A program then keeps
# only the pages it uses: the shared library makes some 5 MB resident at start, for a
# node without a data directory too, by its relocations and symbol look-ups alone.
# Sanitizers see the shared one, whose name their suppressions know.
add_library(eg_rocksdb_static INTERFACE)
set(complete TRUE)
foreach(name rocksdb snappy bz2 z lz4 zstd)
  find_library(EG_ARCHIVE_${name} lib${name}.a)
  mark_as_advanced(EG_ARCHIVE_${name})
  if(EG_ARCHIVE_${name})
    target_link_libraries(eg_rocksdb_static INTERFACE ${EG_ARCHIVE_${name}})
  else()
    set(complete FALSE)
  endif()
endforeach()
target_link_libraries(eg_rocksdb_static INTERFACE -l:libstdc++.a -static-libgcc m)
target_link_options(eg_rocksdb_static INTERFACE -Wl,--gc-sections) # its C calls name all of it

add_library(eg_rocksdb INTERFACE)
if(complete AND NOT EG_SANITIZE)
  target_link_libraries(eg_rocksdb INTERFACE
    $<IF:$<BOOL:$<TARGET_PROPERTY:EG_STATIC_ROCKSDB>>,eg_rocksdb_static,PkgConfig::ROCKSDB>)
else()
  target_link_libraries(eg_rocksdb INTERFACE PkgConfig::ROCKSDB)
endif()
