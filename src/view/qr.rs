//! QR codes, drawn here so that a secret meets no other program (SEC-45): as SVG for pages, as PNG
//! for programs.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

/// Light modules that a reader needs around the code (ISO/IEC 18004, 6.3.8).
const QUIET: usize = 4;
/// Pixels a module in the PNG.
const SCALE: usize = 8;

/// A code as rows of dark and light modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qr {
    width: usize,
    dark: Vec<bool>,
}

impl Qr {
    /// The code of a text; `None` where it is too long for one.
    pub fn new(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M).ok()?;
        let width = code.width();
        let dark = code.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        Some(Self { width, dark })
    }

    fn rows(&self) -> impl Iterator<Item = &[bool]> {
        self.dark.chunks(self.width)
    }

    /// `viewBox` of the SVG, with half of the quiet zone: the frame around it on the page is the other half.
    pub fn view_box(&self) -> String {
        let side = self.width + QUIET;
        format!("-{0} -{0} {side} {side}", QUIET / 2)
    }

    /// `d` of the SVG's one path: a rectangle for each run of dark modules.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for (y, row) in self.rows().enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|a, b| a == b) {
                let length = run.len();
                if run.first() == Some(&true) {
                    // Writing to a String cannot fail.
                    let _ = write!(path, "M{x} {y}h{length}v1h-{length}z");
                }
                x += length;
            }
        }
        path
    }

    /// A picture of one bit a pixel; `None` where it could not be written.
    pub fn png(&self) -> Option<Vec<u8>> {
        let side = (self.width + 2 * QUIET) * SCALE;
        let bytes_a_row = side.div_ceil(8);
        let light = vec![0xff_u8; bytes_a_row];
        let mut pixels = Vec::with_capacity(bytes_a_row * side);
        pixels.extend(light.repeat(QUIET * SCALE));
        for row in self.rows() {
            let mut line = light.clone();
            for (x, _) in row.iter().enumerate().filter(|(_, dark)| **dark) {
                for pixel in (x + QUIET) * SCALE..(x + QUIET + 1) * SCALE {
                    line[pixel / 8] &= !(0x80 >> (pixel % 8));
                }
            }
            pixels.extend(line.repeat(SCALE));
        }
        pixels.extend(light.repeat(QUIET * SCALE));

        let side = u32::try_from(side).ok()?;
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().ok()?;
        writer.write_image_data(&pixels).ok()?;
        writer.finish().ok()?;
        Some(out)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    const URI: &str = "otpauth://totp/Anteroom:mara%40lindqvist.example?secret=K5QWYZDP3HJN7XRAMB2ETV4GCL6SOUFI\
                       &issuer=Anteroom&algorithm=SHA1&digits=6&period=30";

    #[test]
    fn the_path_draws_the_dark_modules() {
        let qr = Qr::new(URI).unwrap();
        let path = qr.path();
        // A finder pattern begins with seven dark modules, twice in the first row.
        assert!(path.starts_with("M0 0h7v1h-7z"), "{path}");
        assert!(path.contains(&format!("M{} 0h7v1h-7z", qr.width - 7)));
        let drawn: usize = path
            .split('M')
            .filter_map(|run| run.split_once('h')?.1.split_once('v')?.0.parse::<usize>().ok())
            .sum();
        assert_eq!(drawn, qr.dark.iter().filter(|dark| **dark).count());
        assert_eq!(qr.view_box(), format!("-2 -2 {0} {0}", qr.width + 4));
        assert!(Qr::new(&"x".repeat(4_000)).is_none());
    }

    #[test]
    fn the_png_has_a_quiet_zone_and_the_same_modules() {
        let qr = Qr::new(URI).unwrap();
        let png = qr.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
        let side = (qr.width + 8) * 8;
        assert_eq!((reader.info().width as usize, reader.info().height as usize), (side, side));
        assert_eq!(reader.info().bit_depth, png::BitDepth::One);
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let is_dark = |x: usize, y: usize| pixels[y * side.div_ceil(8) + x / 8] & (0x80 >> (x % 8)) == 0;
        for y in 0..side {
            for x in 0..side {
                let module = |at: usize| (at / 8).checked_sub(4).filter(|at| *at < qr.width);
                let want = match (module(x), module(y)) {
                    (Some(column), Some(row)) => qr.dark[row * qr.width + column],
                    _ => false,
                };
                assert_eq!(is_dark(x, y), want, "{x} {y}");
            }
        }
    }
}
