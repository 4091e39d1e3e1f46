//! What a terminal sends and what it is answered.

mod example;
