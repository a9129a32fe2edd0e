//! The little linear algebra that the methods need, on matrices of a few dozen rows.

/// Row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    /// Numbers in a row.
    pub(crate) columns: usize,
    /// Row after row.
    pub(crate) values: Vec<f64>,
}

impl Matrix {
    /// Zeros.
    #[must_use]
    pub(crate) fn zero(rows: usize, columns: usize) -> Self {
        Self { columns, values: vec![0.0; rows * columns] }
    }

    /// The rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// A value; 0 beyond the edge.
    #[must_use]
    pub(crate) fn at(&self, row: usize, column: usize) -> f64 {
        self.values.get(row * self.columns + column).copied().unwrap_or(0.0)
    }

    /// Sets a value; nothing beyond the edge.
    pub(crate) fn set(&mut self, row: usize, column: usize, value: f64) {
        if let Some(place) = self.values.get_mut(row * self.columns + column) {
            *place = value;
        }
    }

    /// Adds `weight * x * x^T`.
    pub(crate) fn add_outer(&mut self, x: &[f64], weight: f64) {
        for (row, a) in self.values.chunks_exact_mut(x.len().max(1)).zip(x) {
            for (value, b) in row.iter_mut().zip(x) {
                *value += weight * a * b;
            }
        }
    }

    /// Matrix times vector.
    #[must_use]
    pub(crate) fn times(&self, x: &[f64]) -> Vec<f64> {
        self.rows().map(|row| dot(row, x)).collect()
    }

    /// Solves `self * x = b` for a symmetric positive matrix, by Cholesky's method.
    #[must_use]
    pub(crate) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let size = self.columns;
        let mut lower = Self::zero(size, size);
        for row in 0..size {
            for column in 0..=row {
                let known: f64 = (0..column).map(|at| lower.at(row, at) * lower.at(column, at)).sum();
                let rest = self.at(row, column) - known;
                let value =
                    if row == column { rest.max(1e-12).sqrt() } else { rest / lower.at(column, column) };
                lower.set(row, column, value);
            }
        }
        let mut forward: Vec<f64> = Vec::with_capacity(size);
        for (row, b) in b.iter().enumerate() {
            let known: f64 = forward.iter().enumerate().map(|(at, value)| lower.at(row, at) * value).sum();
            forward.push((b - known) / lower.at(row, row));
        }
        let mut x = Self::zero(1, size);
        for row in (0..size).rev() {
            let known: f64 = (row + 1..size).map(|at| lower.at(at, row) * x.at(0, at)).sum();
            let value = (forward.get(row).copied().unwrap_or(0.0) - known) / lower.at(row, row);
            x.set(0, row, value);
        }
        x.values
    }

    /// Eigenvalues of a symmetric matrix, largest first, each with its vector, by Jacobi's rotations.
    #[must_use]
    pub(crate) fn eigen(&self) -> Vec<(f64, Vec<f64>)> {
        const SWEEPS: usize = 60;
        let size = self.columns;
        let mut matrix = self.clone();
        let mut vectors = Self::zero(size, size);
        (0..size).for_each(|at| vectors.set(at, at, 1.0));
        for _ in 0..SWEEPS {
            let off: f64 = (0..size)
                .flat_map(|row| (0..row).map(move |column| (row, column)))
                .map(|(row, column)| matrix.at(row, column).powi(2))
                .sum();
            if off < 1e-18 {
                break;
            }
            for p in 0..size {
                for q in p + 1..size {
                    rotate(&mut matrix, &mut vectors, p, q);
                }
            }
        }
        let column = |at: usize| (0..size).map(|row| vectors.at(row, at)).collect();
        let mut found: Vec<(f64, Vec<f64>)> = (0..size).map(|at| (matrix.at(at, at), column(at))).collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found
    }
}

/// Makes the value at (p, q) zero.
fn rotate(matrix: &mut Matrix, vectors: &mut Matrix, p: usize, q: usize) {
    let here = matrix.at(p, q);
    if here.abs() < 1e-300 {
        return;
    }
    let theta = (matrix.at(q, q) - matrix.at(p, p)) / (2.0 * here);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    let size = matrix.columns;
    for at in 0..size {
        let (a, b) = (matrix.at(at, p), matrix.at(at, q));
        matrix.set(at, p, cosine * a - sine * b);
        matrix.set(at, q, sine * a + cosine * b);
    }
    for at in 0..size {
        let (a, b) = (matrix.at(p, at), matrix.at(q, at));
        matrix.set(p, at, cosine * a - sine * b);
        matrix.set(q, at, sine * a + cosine * b);
        let (a, b) = (vectors.at(at, p), vectors.at(at, q));
        vectors.set(at, p, cosine * a - sine * b);
        vectors.set(at, q, sine * a + cosine * b);
    }
}

/// Sum of products.
#[must_use]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Square of the distance.
#[must_use]
pub(crate) fn distance2(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spd() -> Matrix {
        let mut matrix = Matrix::zero(3, 3);
        for x in [[1.0, 2.0, 0.5], [0.3, -1.0, 2.0], [2.0, 0.1, 0.2], [0.0, 1.0, 1.0]] {
            matrix.add_outer(&x, 0.7);
        }
        matrix
    }

    #[test]
    fn a_solution_solves() {
        let x = spd().solve(&[1.0, -2.0, 3.0]);
        for (found, expected) in spd().times(&x).iter().zip([1.0, -2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn eigenvectors_are_only_stretched_and_the_largest_comes_first() {
        let found = spd().eigen();
        assert!(found[0].0 >= found[1].0 && found[1].0 >= found[2].0);
        for (value, vector) in found {
            for (stretched, at) in spd().times(&vector).iter().zip(&vector) {
                assert!((stretched - value * at).abs() < 1e-8);
            }
            assert!((dot(&vector, &vector) - 1.0).abs() < 1e-9);
        }
    }
}
