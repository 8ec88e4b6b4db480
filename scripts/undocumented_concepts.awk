# Prints each concept without a documentation comment before it, outside detail namespaces.
FNR == 1 { documented = 0; inside_detail = 0 }
/^namespace .*detail/ { inside_detail = 1 }
/^}.*namespace .*detail/ { inside_detail = 0 }
/^[ \t]*(\/\/\/|\/\/!)/ || /\*\/[ \t]*$/ { documented = 1; next }
/^[ \t]*concept [A-Za-z0-9_]+/ {
  if (!documented && !inside_detail) {
    name = $0
    sub(/^[ \t]*concept /, "", name)
    sub(/[^A-Za-z0-9_].*/, "", name)
    printf "%s:%d: warning: concept %s is not documented.\n", FILENAME, FNR, name
  }
}
/^[ \t]*$/ || /[;}][ \t]*$/ { documented = 0 }
