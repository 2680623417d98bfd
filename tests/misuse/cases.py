"""What each misuse must print: the one place for the wording.

Law: a row is (case, function, what). function and what are regular expressions; in what, {usable} stands for the
usable size of the block, {offset} for the distance of the address from its start. The line on standard error
is `gcmalloc: FUNCTION(ADDRESS): WHAT`, whole.
"""

DOUBLE = r"double free of a block of {usable} bytes"
FREED = r"the block of {usable} bytes was freed before"
INTERIOR = (r"(?:is )?not the start of a block "
            r"\(it is {offset} bytes? inside a block of {usable} bytes\)")
FOREIGN = r"(?:is )?not an address of gcmalloc's heap"

# A block whose pages were given back may no longer be known by its size.
GONE = r"no block is there: double free, or never allocated"
DOUBLE_LARGE = r"(?:" + DOUBLE + r"|" + GONE + r")"
FREED_LARGE = r"(?:" + FREED + r"|" + DOUBLE_LARGE + r")"
# realloc and malloc_usable_size of a freed block may say the same as free does.
FREED_ANY = r"(?:" + FREED + r"|" + DOUBLE + r")"

FREE = r"free"
DELETE = r"(?:operator delete(?:\[\])?|free)"
REALLOC = r"realloc"
USABLE = r"malloc_usable_size"

CASES = [
    ("double_free_small", FREE, DOUBLE),
    ("double_free_tiny", FREE, DOUBLE),
    ("double_free_middle", FREE, DOUBLE),
    ("double_free_large", FREE, DOUBLE_LARGE),
    ("double_free_after_others", FREE, DOUBLE),
    ("double_free_after_all", FREE, DOUBLE_LARGE),
    ("double_free_by_thread", FREE, DOUBLE),
    ("double_free_after_thread", FREE, DOUBLE),
    ("double_free_in_threads", FREE, DOUBLE),
    ("double_delete", DELETE, DOUBLE),
    ("double_delete_sized", DELETE, DOUBLE),
    ("double_free_aligned", FREE, DOUBLE_LARGE),
    ("free_after_realloc_moved", FREE, DOUBLE_LARGE),
    ("interior_small", FREE, INTERIOR),
    ("interior_unaligned", FREE, INTERIOR),
    ("interior_middle", FREE, INTERIOR),
    ("interior_large", FREE, INTERIOR),
    ("interior_large_page", FREE, INTERIOR),
    ("interior_aligned", FREE, INTERIOR),
    ("interior_delete", DELETE, INTERIOR),
    ("stack_address", FREE, FOREIGN),
    ("static_address", FREE, FOREIGN),
    ("text_address", FREE, FOREIGN),
    ("foreign_mapping", FREE, FOREIGN),
    ("wild_pointer", FREE, FOREIGN),
    ("low_pointer", FREE, FOREIGN),
    ("high_pointer", FREE, FOREIGN),
    ("not_canonical_pointer", FREE, FOREIGN),
    ("realloc_freed", REALLOC, FREED_ANY),
    ("realloc_freed_large", REALLOC, FREED_LARGE),
    ("realloc_freed_to_zero", REALLOC, FREED_ANY),
    ("realloc_interior", REALLOC, INTERIOR),
    ("realloc_static", REALLOC, FOREIGN),
    ("reallocarray_freed", r"realloc(?:array)?", FREED_ANY),
    ("usable_size_freed", USABLE, FREED_ANY),
    ("usable_size_interior", USABLE, INTERIOR),
    ("usable_size_static", USABLE, FOREIGN),
]

# A frame below the message: `gcmalloc:   #0 0x55… in function+0x1f (binary+0x1234)`, or without the name.
FRAME = r"gcmalloc:   #(\d+) (0x[0-9a-f]+) in (.+)"

# The frees that GCMALLOC_FOREIGN=ignore lets pass, and some that it does not.
IGNORED = ["stack_address", "static_address", "text_address", "foreign_mapping", "wild_pointer", "low_pointer",
           "high_pointer", "not_canonical_pointer"]
NOT_IGNORED = ["double_free_small", "interior_small"]
