# nook.wasm: one bare module. Emscripten compiles and gives the C library; its JavaScript and its link driver are left out, since
# they bring imports that our loader (web/loader.js) does not need. wasm-ld fails on any undefined symbol, so that the only
# import is env.memory. Exports: src/exports.txt.
option(NOOK_WASM_NAMES "Keep the names of functions, for profiles and readable traps" OFF)

function(nook_em_config variable)
  execute_process(COMMAND "${EMSCRIPTEN_ROOT_PATH}/em-config" ${variable} OUTPUT_VARIABLE value
    OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "em-config ${variable} failed: source ./emsdk-env.sh again.")
  endif()
  set(nook_${variable} "${value}" PARENT_SCOPE)
endfunction()
nook_em_config(LLVM_ROOT)
nook_em_config(BINARYEN_ROOT)
nook_em_config(CACHE)
unset(NOOK_WASM_LD CACHE) # always those of the emcc in use
unset(NOOK_WASM_OPT CACHE)
find_program(NOOK_WASM_LD NAMES wasm-ld-19 wasm-ld NAMES_PER_DIR PATHS "${nook_LLVM_ROOT}" NO_DEFAULT_PATH REQUIRED)
find_program(NOOK_WASM_OPT wasm-opt PATHS "${nook_BINARYEN_ROOT}/bin" NO_DEFAULT_PATH REQUIRED)

# Bulk memory and saturating conversions are older than SIMD128 in every engine that has it.
set(nook_machine -msimd128 -mbulk-memory -mnontrapping-fptoint)
set(nook_flavour "")
if(NOOK_THREADS)
  list(APPEND nook_machine -matomics)
  set(nook_flavour "-ww") # the C library with locks and thread-local storage but without pthreads
endif()
add_library(nook_runtime OBJECT cmake/wasm_runtime.c)
target_link_libraries(nook_runtime PRIVATE nook_options)
# Otherwise the compiler sees memcpy's loop in our memcpy and the copy would call itself.
target_compile_options(nook_runtime PRIVATE -fno-builtin)
foreach(target nook nook_cjson nook_runtime)
  target_compile_options(${target} PRIVATE ${nook_machine})
endforeach()
if(NOOK_RELAXED)
  set(relaxed_sources ${nook_sources})
  list(FILTER relaxed_sources INCLUDE REGEX "/kernels/relaxed/[^/]*\\.c$")
  set_source_files_properties(${relaxed_sources} PROPERTIES COMPILE_OPTIONS -mrelaxed-simd)
endif()

# The sysroot's archives; an emsdk that has not built one of them yet does it now.
set(nook_archives "")
set(nook_archive_folder "${nook_CACHE}/sysroot/lib/wasm32-emscripten")
foreach(name libc${nook_flavour} libdlmalloc${nook_flavour} libcompiler_rt${nook_flavour})
  if(NOT EXISTS "${nook_archive_folder}/${name}.a")
    message(STATUS "Building ${name} of Emscripten's sysroot (once)")
    execute_process(COMMAND "${EMSCRIPTEN_ROOT_PATH}/embuilder" build ${name} RESULT_VARIABLE status)
    if(NOT EXISTS "${nook_archive_folder}/${name}.a")
      message(FATAL_ERROR "Emscripten's sysroot has no ${name}.a and embuilder could not make it (status ${status}).")
    endif()
  endif()
  list(APPEND nook_archives "${nook_archive_folder}/${name}.a")
endforeach()

file(STRINGS src/exports.txt exports REGEX "^[a-z]")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS src/exports.txt)
list(TRANSFORM exports PREPEND "--export=")

# --stack-first puts the stack below all data: an overflow leaves the memory at address 0 and traps.
set(link_options --no-entry --import-memory --stack-first -z stack-size=524288 --gc-sections -O2 ${exports})
if(NOOK_THREADS)
  # The importer may pass a memory with a smaller maximum, never a greater one.
  list(APPEND link_options --shared-memory --max-memory=4294967296 --export=__stack_pointer --export=__wasm_init_tls
    --export=__tls_size --export=__tls_align)
endif()
# Everything with its one caller inlined would make a kernel's hot loop part of a function that is called once: engines
# compile such a loop with their baseline tier only (they replace code at the next call).
set(opt_options -O3 --one-caller-inline-max-function-size=64 --strip-producers --strip-target-features)
if(NOOK_WASM_NAMES)
  list(APPEND opt_options -g)
else()
  list(APPEND link_options --strip-debug)
endif()

add_custom_command(OUTPUT nook.wasm
  COMMAND "${NOOK_WASM_LD}" ${link_options} -o nook.linked.wasm $<TARGET_OBJECTS:nook> $<TARGET_OBJECTS:nook_runtime>
    $<TARGET_FILE:nook_cjson> ${nook_archives}
  COMMAND "${NOOK_WASM_OPT}" ${opt_options} nook.linked.wasm -o nook.wasm
  COMMAND "${CMAKE_COMMAND}" -E rm nook.linked.wasm
  DEPENDS nook nook_runtime nook_cjson $<TARGET_OBJECTS:nook> $<TARGET_OBJECTS:nook_runtime> src/exports.txt
  COMMENT "Linking nook.wasm" COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(nook_wasm ALL DEPENDS nook.wasm)

# kernels.wasm: the matrix kernels alone, for `npm run bench -- kernels`; built when asked for. Its memory is its own.
if(NOT NOOK_THREADS)
  add_library(nook_kernels_bench OBJECT EXCLUDE_FROM_ALL bench/kernels_main.c)
  target_link_libraries(nook_kernels_bench PRIVATE nook_options)
  target_compile_options(nook_kernels_bench PRIVATE ${nook_machine})
  add_custom_command(OUTPUT kernels.wasm
    COMMAND "${NOOK_WASM_LD}" --no-entry --stack-first -z stack-size=524288 --gc-sections -O2 --strip-debug
      -o kernels.linked.wasm $<TARGET_OBJECTS:nook_kernels_bench> $<TARGET_OBJECTS:nook>
      $<TARGET_OBJECTS:nook_runtime> $<TARGET_FILE:nook_cjson> ${nook_archives}
    COMMAND "${NOOK_WASM_OPT}" ${opt_options} kernels.linked.wasm -o kernels.wasm
    COMMAND "${CMAKE_COMMAND}" -E rm kernels.linked.wasm
    DEPENDS nook nook_runtime nook_cjson nook_kernels_bench $<TARGET_OBJECTS:nook_kernels_bench> $<TARGET_OBJECTS:nook>
    COMMENT "Linking kernels.wasm" COMMAND_EXPAND_LISTS VERBATIM)
  add_custom_target(kernels DEPENDS kernels.wasm)
endif()
