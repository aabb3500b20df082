// dictionary.h: expressions of one dictionary column, computed once for every entry of the dictionary.
#pragma once

#include "engine/expression/node.h"

namespace neap::engine {

// Wraps a node that computes something of one column of the batch; gives other nodes back. Where that column comes with
// a dictionary that is worth it, the node is computed for the dictionary's entries, and rows look their result up.
NodePtr MakeDictionary(NodePtr node, Memory& memory);

}  // namespace neap::engine
