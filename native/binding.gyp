{
  "targets": [
    {
      "target_name": "culvert",
      "sources": ["<!@(find . -name '*.cc' -not -path './build/*' | sort)"],
      "dependencies": ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "include_dirs": ["."],
      "libraries": ["-lbpf"],
      "cflags": ["-Wall", "-Wextra", "-Werror", "-O2", "-fvisibility=hidden"],
      "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti"]
    }
  ]
}
