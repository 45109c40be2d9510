# whole.cmake -- all layers in one object, which what users run is linked from.
#
# With EG_WHOLE it has been optimised as one program: a write goes through a hundred small functions of
# all layers, and where each stays in its own file the calls alone, and the cache that so much code
# needs, are a tenth of it.  That is done once, for libengram, the programs and the benchmarks.  Objects
# hold plain code, too: tests are linked from that, with each layer by itself, and need no more time.
set(layers "")
set(objects "")
foreach(layer engine tables replication query node)
  if(TARGET eg_${layer})
    list(APPEND layers eg_${layer})
    list(APPEND objects $<TARGET_OBJECTS:eg_${layer}>)
  endif()
endforeach()

set(whole ${CMAKE_BINARY_DIR}/whole.o)
if(EG_WHOLE)
  foreach(layer ${layers})
    target_compile_options(${layer} PRIVATE -flto -ffat-lto-objects)
  endforeach()
  add_link_options(-fno-lto) # everywhere else
  set(join ${CMAKE_C_COMPILER} -O2 -g -fPIC -flto=2 -flinker-output=nolto-rel -r -nostdlib)
else()
  set(join ${CMAKE_LINKER} -r)
endif()
add_custom_command(OUTPUT ${whole} COMMAND ${join} -o ${whole} ${objects}
                   DEPENDS ${layers} ${objects} COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(eg_whole DEPENDS ${whole})

# eg_link_whole(target) -- a program that is linked to eg_node takes all layers from there.
function(eg_link_whole target)
  if(EG_WHOLE)
    add_dependencies(${target} eg_whole)
    target_link_options(${target} PRIVATE ${whole}) # before libraries, which then have nothing to add
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${whole})
  endif()
endfunction()
