#pragma once

int rondel_control_function() { return 1; }
