/**
 * Durable jobs, activities and workflows on nothing but PostgreSQL.
 *
 * @packageDocumentation
 */
export {}
