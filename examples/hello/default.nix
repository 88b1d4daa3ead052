# Two packages, made by /bin/sh alone: no compiler, no nixpkgs, no network.
#
# `hello` is a program of a hundred bytes of machine code that opens `greeting`, the file that its
# closure has besides itself, and copies it to standard output.
{ system ? builtins.currentSystem }:
let
  # Runs a script that has the builtins of a POSIX shell and nothing else. A binary cache is not
  # asked, since asking would take longer than the script does.
  run = name: script: attributes: derivation ({
    inherit name system;
    builder = "/bin/sh";
    args = [ "-euc" script ];
    allowSubstitutes = false;
    preferLocalBuild = true;
  } // attributes);

  # The machine code as octal escapes, and the ELF number of the processor. Both programs do
  # open(path), read(4096 bytes), write, exit(0); the path follows the code.
  programs = {
    x86_64-linux.machine = ''\076'';
    x86_64-linux.code = ''
      \270\002\000\000\000\277\262\000\100\000\061\366\017\005\110\201
      \354\000\020\000\000\211\307\061\300\110\211\346\272\000\020\000
      \000\017\005\211\302\270\001\000\000\000\277\001\000\000\000\017
      \005\270\074\000\000\000\061\377\017\005'';
    aarch64-linux.machine = ''\267'';
    aarch64-linux.code = ''
      \140\014\200\222\001\002\000\020\002\000\200\322\010\007\200\322
      \001\000\000\324\377\007\100\321\341\003\000\221\002\000\202\322
      \350\007\200\322\001\000\000\324\342\003\000\252\040\000\200\322
      \010\010\200\322\001\000\000\324\000\000\200\322\250\013\200\322
      \001\000\000\324'';
  };
  program = programs.${system} or (throw "examples/hello has no program for ${system}");

  # An ELF header and one segment: the file, mapped read-only and executable at 0x400000.
  elf = ''
    \177\105\114\106\002\001\001\000\000\000\000\000\000\000\000\000
    \002\000${program.machine}\000\001\000\000\000\170\000\100\000\000\000\000\000
    \100\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000
    \000\000\000\000\100\000\070\000\001\000\000\000\000\000\000\000
    \001\000\000\000\005\000\000\000\000\000\000\000\000\000\000\000
    \000\000\100\000\000\000\000\000\000\000\100\000\000\000\000\000
    \000\020\000\000\000\000\000\000\000\020\000\000\000\000\000\000
    \000\020\000\000\000\000\000\000'';
  bytes = builtins.replaceStrings [ " " "\n" ] [ "" "" ] (elf + program.code);
in
rec {
  greeting = run "greeting" ''echo "$text" > "$out"'' {
    text = "Hello from a Nix store path, without a layer archive.";
  };

  hello = run "hello" ''printf "$bytes%s\000" "$greeting" > "$out"'' {
    inherit bytes greeting;
  };
}
