# Arrays, strings, substitutions and functions by the thousand; what it prints is the same on every malloc.
declare -A seen
text=
for ((i = 0; i < 5000; i++)); do
  key=k$((i * 7919 % 10007))
  seen[$key]=$((${seen[$key]:-0} + i))
  text+=${key:1:2}
done
echo "${#seen[@]} ${#text}"
for key in k1 k77 k10006; do echo "${seen[$key]:-none}"; done
words=(${text//1/ })
echo "${#words[@]} ${words[100]} ${text//[0-4]/}" | cksum
depth() { (($1 == 0)) && echo "${#2}" || depth $(($1 - 1)) "$2$2"; }
depth 16 ab
large=$(printf '%020000d' 7)
large=${large//0/ab}
echo "${#large} ${large: -3}"
sorted=$(printf '%s\n' "${!seen[@]}" | sort | tail -1)
echo "$sorted"
for i in {1..50}; do (echo "$i" | while read -r n; do echo $((n * n)); done); done | cksum
read -r -d '' document <<'END' || true
a here-document
END
echo "$document"
unset seen words text
