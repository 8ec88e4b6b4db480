# One INTERFACE target, one export set and one entry in the package configuration per backend.

# rondel_component(<name> HEADERS <file>... [LINK <target>...] [PACKAGE <find_dependency argument>...]
#                  [NEEDS <component>...])
#
# Declares rondel::<name>. PACKAGE is what the installed configuration must find before it can load the
# component, NEEDS the components to load with it; declare those first. A component may link a target of a
# package that is absent here: the export only records the name.
function(rondel_component name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "HEADERS;LINK;PACKAGE;NEEDS")
  if(name STREQUAL "rondel")
    set(target rondel)
  else()
    set(target rondel_${name})
  endif()

  add_library(${target} INTERFACE)
  add_library(rondel::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(${target} INTERFACE cxx_std_20)
  target_sources(${target} INTERFACE
    FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${arg_HEADERS})
  target_link_libraries(${target} INTERFACE ${arg_LINK})

  set_property(GLOBAL APPEND PROPERTY RONDEL_COMPONENTS ${name})
  set_property(GLOBAL APPEND_STRING PROPERTY RONDEL_COMPONENT_FACTS
    "set(_rondel_needs_${name} ${arg_NEEDS})\nset(_rondel_package_${name} ${arg_PACKAGE})\n")

  if(RONDEL_INSTALL)
    install(TARGETS ${target} EXPORT rondel-${name}-targets FILE_SET HEADERS COMPONENT rondel_dev)
    install(EXPORT rondel-${name}-targets NAMESPACE rondel:: FILE rondel-${name}-targets.cmake
      DESTINATION ${CMAKE_INSTALL_DATADIR}/cmake/rondel COMPONENT rondel_dev)
  endif()
endfunction()

# Installs the package configuration; call it after the last rondel_component().
function(rondel_install_package)
  get_property(RONDEL_COMPONENTS GLOBAL PROPERTY RONDEL_COMPONENTS)
  get_property(RONDEL_COMPONENT_FACTS GLOBAL PROPERTY RONDEL_COMPONENT_FACTS)
  set(destination ${CMAKE_INSTALL_DATADIR}/cmake/rondel)
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/rondel-config.cmake.in
    ${PROJECT_BINARY_DIR}/rondel-config.cmake
    INSTALL_DESTINATION ${destination} NO_SET_AND_CHECK_MACRO)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/rondel-config-version.cmake
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
  install(FILES
    ${PROJECT_BINARY_DIR}/rondel-config.cmake
    ${PROJECT_BINARY_DIR}/rondel-config-version.cmake
    ${PROJECT_SOURCE_DIR}/cmake/FindNCCL.cmake
    DESTINATION ${destination} COMPONENT rondel_dev)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE
    DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/rondel COMPONENT rondel_dev)
endfunction()
