#pragma once

/// @file
/// The version of rondel as preprocessor numbers.

/// Incompatible changes (while it is 0, the minor number counts them).
#define RONDEL_VERSION_MAJOR 0
/// New features.
#define RONDEL_VERSION_MINOR 1
/// Corrections only.
#define RONDEL_VERSION_PATCH 0
