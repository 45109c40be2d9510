/* pattern.h -- the simple match: a record with "_" where anything may stand.
 *
 *     ["_", "Anna", ["_", 7]]     matches     [3, "Anna", ["x", 7.0]]
 *
 * Everything else in a pattern matches what compares equal to it.  The string "_"
 * is a wildcard in the record and in arrays inside it; a map is one value, in
 * which "_" is only a string.
 *
 * Threads    Pure functions.
 */
#ifndef TABLES_PATTERN_H
#define TABLES_PATTERN_H

#include "engine/err.h"
#include "tables/value.h"

/* May `pattern` be matched with records of `arity` fields?
 * EG_BAD_REQUEST: it is no array of that many elements. */
EG_MUST_USE eg_err pattern_check(struct value pattern, uint32_t arity, struct err_note *note);

/* Where the pattern says all of the key (no "_" in it), *key is that key and the
 * records to look at are those under it. */
EG_MUST_USE bool pattern_get_key(struct value pattern, struct value *key);

/* The same of any field. */
EG_MUST_USE bool pattern_get_field(struct value pattern, uint32_t position, struct value *field);

/* Does it match the record whose array this is? */
EG_MUST_USE bool pattern_matches(struct value pattern, struct value array);

#endif /* TABLES_PATTERN_H */
