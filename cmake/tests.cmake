# Every C file of tests/unit and tests/grid is one program with its own main(), linked with the whole engine and cmocka and
# run from the repository root. tests/fuzz/fuzz_*.c: libFuzzer targets in the fuzz build; elsewhere programs that replay the
# files named on their command line.
function(nook_program file folder)
  get_filename_component(name "${file}" NAME_WE)
  add_executable(${name} "${file}" ${ARGN})
  target_link_libraries(${name} PRIVATE nook)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/${folder}")
endfunction()

set(folders unit grid)
if(NOOK_FUZZ OR NOT TARGET nook_cmocka)
  set(folders "") # the sanitize build runs them
endif()
foreach(folder IN LISTS folders)
  file(GLOB files CONFIGURE_DEPENDS tests/${folder}/*.c)
  if(APPLE)
    list(FILTER files EXCLUDE REGEX "/test_(engine|convert|adapter)_memory\\.c$") # Apple's linker has no --wrap
  endif()
  foreach(file IN LISTS files)
    nook_program("${file}" ${folder})
    get_filename_component(name "${file}" NAME_WE)
    target_link_libraries(${name} PRIVATE nook_cmocka)
    add_test(NAME ${folder}/${name} COMMAND ${name} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
    set_tests_properties(${folder}/${name} PROPERTIES TIMEOUT 900
      ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1;ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1")
  endforeach()
endforeach()

foreach(name test_engine_memory test_convert_memory test_adapter_memory) # their own malloc in the place of the system's, for the whole program
  if(TARGET ${name})
    foreach(function malloc calloc realloc aligned_alloc free)
      target_link_options(${name} PRIVATE "-Wl,--wrap=${function}")
    endforeach()
  endif()
endforeach()

file(GLOB files CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
foreach(file IN LISTS files)
  if(NOOK_FUZZ)
    nook_program("${file}" fuzz)
    get_filename_component(name "${file}" NAME_WE)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    nook_program("${file}" fuzz tests/fuzz/replay_main.c)
  endif()
endforeach()

# Mutated model files (tests/mutation/*.test.js runs it); not in the fuzz build, which finds its own mutations.
if(NOT NOOK_FUZZ)
  nook_program(tests/mutation/mutate.c mutation tests/mutation/mutator.c)
endif()
