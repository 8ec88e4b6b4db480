#pragma once

inline std::string rondel_control_function() { return "1"; }
