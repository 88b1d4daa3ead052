# A closure that is made in a moment, of nothing but /bin/sh and its builtins: a -> b -> c, and
# `several` with three outputs. Whoever needs a changed package edits the word below.
let
  word = "hello";

  text = name: attributes: script: derivation (attributes // {
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-e" "-c" script ];
  });
in
rec {
  c = text "c" { } ''echo "the end" > "$out"'';
  b = text "b" { inherit c; } ''echo "b needs $c" > "$out"'';
  a = text "a" { inherit b; } ''echo "a needs $b" > "$out"'';

  # The only path that depends on the word.
  greeting = text "greeting" { inherit c word; } ''echo "$word, $c" > "$out"'';

  # `out` references `dev` and c, `dev` references `doc`, and `doc` itself.
  several = text "several" { outputs = [ "out" "dev" "doc" ]; inherit c; } ''
    echo "this is $doc" > "$doc"
    echo "see $doc" > "$dev"
    echo "made with $dev and $c" > "$out"
  '';
}
