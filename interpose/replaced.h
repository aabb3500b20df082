// replaced.h: whether the program has its own function under a name that interpose/ exports.
#pragma once

namespace neap {

// named: the address that the name leads to; own: that of our function, by its hidden name. A false "yes" (a program
// that is not position-independent gives a function whose address it takes an address of its own) costs a detour only.
template <class Function>
bool IsReplaced(Function* named, Function* own) {
  asm("" : "+r"(named));  // or clang decides that a function and its alias have two addresses
  return named != own;
}

}  // namespace neap
