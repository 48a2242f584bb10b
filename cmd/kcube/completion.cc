// `kcube completion`: verbs and flags for the shell, from the same table that parses them.
#include "cmd/kcube/completion.h"

namespace kcube::cli {

std::string completion_script(const std::string& shell, const std::vector<std::string>& verbs, const std::vector<std::string>& flags) {
  std::string words;
  for (const auto& list : {verbs, flags})
    for (const std::string& word : list) words += (words.empty() ? "" : " ") + word;
  if (shell == "bash") {
    return "_kcube() {\n  local words=\"" + words + "\"\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _kcube kcube\n";
  }
  if (shell == "zsh") return "#compdef kcube\n_kcube() { compadd -- " + words + "; _files }\ncompdef _kcube kcube\n";
  if (shell == "fish") {
    std::string out;
    for (const std::string& verb : verbs) out += "complete -c kcube -n __fish_use_subcommand -a " + verb + "\n";
    for (const std::string& flag : flags)
      if (flag.starts_with("--")) out += "complete -c kcube -l " + flag.substr(2) + "\n";
    return out;
  }
  return {};
}

}  // namespace kcube::cli
