# Third-party C code: cJSON (engine), SIMDe (native builds), cmocka (tests). Nothing of it is committed.
#
# Order for each: FETCHCONTENT_SOURCE_DIR_<NAME> if given; the system's package (not for cJSON: natively and in WebAssembly
# the very same parser runs); the shared cache, which tools/third_party.py fills; CMake's own FetchContent.
# Versions and hashes: tools/third_party.json, the one list that this file and the script read.
include(FetchContent)
set(FETCHCONTENT_QUIET OFF)
if(POLICY CMP0135)
  cmake_policy(SET CMP0135 NEW)
endif()

file(READ "${CMAKE_CURRENT_SOURCE_DIR}/tools/third_party.json" nook_third_party)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS tools/third_party.json)

# Leaves the folder of the sources in <name>_SOURCE_DIR. Their own build files are never run.
function(nook_source name)
  string(TOUPPER "${name}" upper)
  string(JSON version GET "${nook_third_party}" "${name}" version)
  set(cached "${NOOK_CACHE}/src/${name}-${version}")
  if(NOT FETCHCONTENT_SOURCE_DIR_${upper} AND EXISTS "${cached}")
    set(FETCHCONTENT_SOURCE_DIR_${upper} "${cached}")
  endif()
  # SOURCE_SUBDIR names no folder: MakeAvailable then only populates.
  string(JSON commit ERROR_VARIABLE no_commit GET "${nook_third_party}" "${name}" commit)
  if(no_commit)
    string(JSON url GET "${nook_third_party}" "${name}" url)
    string(JSON sha256 GET "${nook_third_party}" "${name}" sha256)
    FetchContent_Declare(${name} URL "${url}" URL_HASH SHA256=${sha256} SOURCE_SUBDIR sources-only)
  else()
    string(JSON repository GET "${nook_third_party}" "${name}" git)
    FetchContent_Declare(${name} GIT_REPOSITORY "${repository}" GIT_TAG ${commit} SOURCE_SUBDIR sources-only)
  endif()
  FetchContent_MakeAvailable(${name})
  set(${name}_SOURCE_DIR "${${name}_SOURCE_DIR}" PARENT_SCOPE)
endfunction()

# cJSON: depth of nesting limited, since recursion on a file's JSON must not reach the end of the stack.
nook_source(cjson)
add_library(nook_cjson STATIC "${cjson_SOURCE_DIR}/cJSON.c")
target_include_directories(nook_cjson SYSTEM PUBLIC "${cjson_SOURCE_DIR}")
target_compile_definitions(nook_cjson PUBLIC CJSON_NESTING_LIMIT=64 CJSON_HIDE_SYMBOLS)
target_compile_options(nook_cjson PRIVATE -w -ffp-contract=off)

if(EMSCRIPTEN)
  return()
endif()

add_library(nook_simde INTERFACE)
find_path(NOOK_SIMDE_INCLUDE simde/wasm/simd128.h)
if(NOOK_SIMDE_INCLUDE)
  set(simde_include "${NOOK_SIMDE_INCLUDE}")
else()
  nook_source(simde)
  set(simde_include "${simde_SOURCE_DIR}")
endif()
# -isystem rather than SYSTEM: CMake drops a compiler's own search folders, and with them what makes them system headers.
target_include_directories(nook_simde SYSTEM INTERFACE "${simde_include}")

# Without cmocka (-DNOOK_CMOCKA=OFF) the programs that need none are still built: mutate, the fuzzers.
option(NOOK_CMOCKA "Build the unit tests, which need cmocka" ON)
if((NOOK_TESTS OR NOOK_FUZZ) AND NOOK_CMOCKA)
  find_path(NOOK_CMOCKA_INCLUDE cmocka.h)
  find_library(NOOK_CMOCKA_LIBRARY cmocka)
  if(NOOK_CMOCKA_INCLUDE AND NOOK_CMOCKA_LIBRARY AND NOT NOOK_M32)
    add_library(nook_cmocka INTERFACE)
    target_include_directories(nook_cmocka SYSTEM INTERFACE "${NOOK_CMOCKA_INCLUDE}")
    target_link_libraries(nook_cmocka INTERFACE "${NOOK_CMOCKA_LIBRARY}")
  else()
    nook_source(cmocka)
    add_library(nook_cmocka STATIC "${cmocka_SOURCE_DIR}/src/cmocka.c")
    target_include_directories(nook_cmocka SYSTEM PUBLIC "${cmocka_SOURCE_DIR}/include")
    target_compile_options(nook_cmocka PRIVATE -w)
    target_compile_definitions(nook_cmocka PRIVATE
      HAVE_STDLIB_H HAVE_STRING_H HAVE_STRINGS_H HAVE_STDINT_H HAVE_INTTYPES_H HAVE_UNISTD_H HAVE_SIGNAL_H HAVE_SETJMP_H
      HAVE_TIME_H HAVE_MALLOC_H HAVE_STRUCT_TIMESPEC HAVE_CLOCK_GETTIME HAVE_CLOCK_REALTIME HAVE_GCC_THREAD_LOCAL_STORAGE
      "_GNU_SOURCE")
  endif()
endif()
