"""The federation's core: plan a query, run its shards, combine the partials. Values in, values out."""
