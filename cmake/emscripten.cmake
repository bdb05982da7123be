# Toolchain file of the wasm presets: Emscripten's own, found from the emcc that emsdk-env.sh put into PATH.
find_program(NOOK_EMCC emcc REQUIRED)
execute_process(COMMAND em-config EMSCRIPTEN_ROOT OUTPUT_VARIABLE nook_emscripten_root OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE nook_em_config_status)
if(NOT nook_em_config_status EQUAL 0)
  message(FATAL_ERROR "em-config does not run: source ./emsdk-env.sh in this shell first.")
endif()
if(NOT nook_emscripten_root)
  get_filename_component(nook_emscripten_root "${NOOK_EMCC}" DIRECTORY)
endif()
include("${nook_emscripten_root}/cmake/Modules/Platform/Emscripten.cmake")
