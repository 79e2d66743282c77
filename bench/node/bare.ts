/**
 * A process of Node that does nothing, begun as the contestants are: what Node takes to strip the
 * types of a module is not theirs.
 */
setInterval(() => {}, 1e9)
