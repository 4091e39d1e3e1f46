//! Claims, judged: what is planted is found, and what is right is not complained about.
