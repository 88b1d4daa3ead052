# One derivation with many outputs full of generated files; see generate.py. The first output
# references the last one.
{ python, outputs, files, bytes, seed }:
let
  names = [ "out" ] ++ builtins.genList (i: "p${toString (i + 1)}") (outputs - 1);
in
{
  synth = derivation {
    name = "synth";
    system = "x86_64-linux";
    outputs = names;
    builder = python;
    args = [ "-S" "-E" "-X" "utf8" ./generate.py ];
    inherit files bytes seed;
  };
}
