# Packages the checkout that this port lies in, cmake/ports/rondel. A port of a registry would fetch a release.
set(VCPKG_BUILD_TYPE release)  # there is nothing to compile

get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT EXISTS "${SOURCE_PATH}/include/rondel/rondel.hpp")
  message(FATAL_ERROR "This port packages the checkout of rondel that it lies in, and ${SOURCE_PATH} is none")
endif()

vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    -DRONDEL_BUILD_TESTS=OFF
    -DRONDEL_BUILD_EXAMPLES=OFF
    -DRONDEL_INSTALL=ON
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME rondel CONFIG_PATH share/cmake/rondel)

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/licenses")
